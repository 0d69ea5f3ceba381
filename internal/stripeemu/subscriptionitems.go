package stripeemu

func subscriptionItemOperations() map[string]operation {
	writable := []string{
		"price", "quantity", "metadata.*", "proration_behavior", "proration_date", "payment_behavior", "off_session",
	}
	return map[string]operation{
		"GET /v1/subscription_items": {handle: (*action).listItems,
			params: []string{"subscription", "limit", "starting_after", "ending_before"}},
		"POST /v1/subscription_items":        {handle: (*action).addItem, params: append(writable, "subscription")},
		"GET /v1/subscription_items/{item}":  {handle: (*action).getSubscriptionItem},
		"POST /v1/subscription_items/{item}": {handle: (*action).changeItem, params: writable},
		"DELETE /v1/subscription_items/{item}": {handle: (*action).removeItem,
			params: []string{"proration_behavior", "proration_date", "clear_usage"}},
	}
}

func (a *action) listItems(r *request) (object, error) {
	s, err := a.named("subscription", "subscription", text(r.Params, "subscription"))
	if err != nil {
		return nil, err
	}
	var found []*record
	for _, item := range itemsOf(s) {
		found = append(found, &record{Object: item})
	}
	return page(r, found)
}

// ownerOf finds an item and the subscription it is part of.
func (a *action) ownerOf(id string) (s, item object, err error) {
	for _, r := range a.store.all("subscription") {
		if item := findItem(itemsOf(r.Object), object{"id": id}); item != nil {
			return r.Object, item, nil
		}
	}
	return nil, nil, missing("subscription_item", "item", id)
}

func (a *action) getSubscriptionItem(r *request) (object, error) {
	_, item, err := a.ownerOf(r.id())
	return item, err
}

func (a *action) addItem(r *request) (object, error) {
	s, err := a.named("subscription", "subscription", text(r.Params, "subscription"))
	if err != nil {
		return nil, err
	}
	if err := a.updateByItem(s, r.Params, object{}); err != nil {
		return nil, err
	}
	items := itemsOf(s)
	return items[len(items)-1], nil
}

func (a *action) changeItem(r *request) (object, error) {
	s, item, err := a.ownerOf(r.id())
	if err != nil {
		return nil, err
	}
	if err := a.updateByItem(s, r.Params, object{"id": item["id"]}); err != nil {
		return nil, err
	}
	return findItem(itemsOf(s), item), nil
}

func (a *action) removeItem(r *request) (object, error) {
	s, item, err := a.ownerOf(r.id())
	if err != nil {
		return nil, err
	}
	if err := a.updateByItem(s, r.Params, object{"id": item["id"], "deleted": true}); err != nil {
		return nil, err
	}
	return object{"id": item["id"], "object": "subscription_item", "deleted": true}, nil
}

// updateByItem is an update of the subscription that touches one item.
func (a *action) updateByItem(s, params, entry object) error {
	update := object{}
	for name, value := range params {
		switch name {
		case "price", "quantity", "metadata":
			entry[name] = value
		case "subscription", "clear_usage":
		default:
			update[name] = value
		}
	}
	update["items"] = []any{entry}
	if isEnded(s) {
		return invalid("", "The items of a canceled subscription cannot be changed.")
	}
	if err := a.mayUpdate(s, update); err != nil {
		return err
	}
	p, err := a.planUpdate(s, update)
	if err != nil {
		return err
	}
	return a.update(s, p, update)
}
