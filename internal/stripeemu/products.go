package stripeemu

import "example.com/saaskit/internal/stripecontract"

func productOperations() map[string]operation {
	writable := []string{
		"name", "active", "description", "metadata.*", "images", "features.*", "shippable", "statement_descriptor", "unit_label", "url",
	}
	return map[string]operation{
		"POST /v1/products": {handle: (*action).createProduct, params: append(writable, "id")},
		"GET /v1/products": list("product",
			map[string]filter{"active": field("active"), "ids": idIn, "shippable": field("shippable"), "url": field("url")}),
		"GET /v1/products/{id}":    retrieve("product", "id"),
		"POST /v1/products/{id}":   {handle: (*action).updateProduct, params: append(writable, "default_price")},
		"DELETE /v1/products/{id}": {handle: (*action).deleteProduct},
	}
}

func idIn(r *record, value any) bool {
	ids, _ := value.([]any)
	for _, id := range ids {
		if r.Object["id"] == id {
			return true
		}
	}
	return false
}

func (a *action) createProduct(r *request) (object, error) {
	id := text(r.Params, "id")
	if id == "" {
		id = newID("prod")
	} else if a.store.find("product", id) != nil {
		return nil, stripecontract.Invalid("resource_already_exists", "id", "Product already exists.")
	}
	product := a.create("product", id)
	product["default_price"], product["description"] = nil, nil
	a.setProduct(product, r.Params)
	a.store.save(product)
	a.emit("product.created", product)
	return product, nil
}

func (a *action) setProduct(product, params object) {
	assign(product, params, "name", "active", "description", "images", "features", "shippable",
		"statement_descriptor", "unit_label", "url", "default_price")
	for _, list := range []string{"images", "features"} {
		if product[list] == nil {
			product[list] = []any{}
		}
	}
	mergeMetadata(product, params)
}

func (a *action) updateProduct(r *request) (object, error) {
	product, err := a.lookUp("product", "id", r.id())
	if err != nil {
		return nil, err
	}
	if id := text(r.Params, "default_price"); id != "" {
		price, err := a.named("price", "default_price", id)
		if err != nil {
			return nil, err
		}
		if price["product"] != product["id"] || !flag(price, "active") {
			return nil, invalid("default_price", "The default price must be an active price of this product.")
		}
	}
	a.change(product, "product.updated", func(o object) {
		a.setProduct(o, r.Params)
		o["updated"] = a.at
	})
	return product, nil
}

func (a *action) deleteProduct(r *request) (object, error) {
	product, err := a.lookUp("product", "id", r.id())
	if err != nil {
		return nil, err
	}
	for _, price := range a.store.all("price") {
		if price.Object["product"] == product["id"] {
			return nil, invalid("", "This product cannot be deleted because it has one or more user-created prices.")
		}
	}
	a.emit("product.deleted", product)
	a.store.removeKey(key(product))
	return object{"id": product["id"], "object": "product", "deleted": true}, nil
}
