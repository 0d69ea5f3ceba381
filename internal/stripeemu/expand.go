package stripeemu

import "strings"

// render copies an object for an answer. Prices stand in it in full, as they
// are now and not as they were when the object was made.
func (a *action) render(o object) object {
	rendered := clone(o)
	a.refreshPrices(rendered)
	return rendered
}

func (a *action) refreshPrices(value any) {
	switch value := value.(type) {
	case object:
		if price, ok := value["price"].(object); ok {
			if current := a.store.find("price", text(price, "id")); current != nil {
				value["price"] = clone(current.Object)
			}
		}
		for _, element := range value {
			a.refreshPrices(element)
		}
	case []any:
		for _, element := range value {
			a.refreshPrices(element)
		}
	}
}

// expand replaces an id by its object, or shows a hidden field, along a path
// that the contract has allowed.
func (a *action) expand(value any, path []string) {
	if len(path) == 0 {
		return
	}
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			a.expand(element, path)
		}
	case object:
		a.expandField(value, path[0])
		a.expand(value[path[0]], path[1:])
	}
}

func (a *action) expandField(o object, name string) {
	switch current := o[name].(type) {
	case nil:
		if own := a.store.lookUp(text(o, "id")); own != nil && own.Hidden[name] != nil {
			o[name] = a.render(own.Hidden[name].(object))
		}
	case string:
		if target := a.store.lookUp(current); target != nil && isID(current) {
			o[name] = a.render(target.Object)
		}
	case []any:
		for i, element := range current {
			id, _ := element.(string)
			if target := a.store.lookUp(id); target != nil {
				current[i] = a.render(target.Object)
			}
		}
	}
}

func isID(value string) bool {
	return strings.Contains(value, "_")
}
