package stripeemu

import "slices"

func endpointOperations() map[string]operation {
	return map[string]operation{
		"POST /v1/webhook_endpoints": {handle: (*action).createEndpoint,
			params: []string{"url", "enabled_events", "description", "metadata.*", "api_version"}},
		"GET /v1/webhook_endpoints":                    list("webhook_endpoint", nil),
		"GET /v1/webhook_endpoints/{webhook_endpoint}": retrieve("webhook_endpoint", "webhook_endpoint"),
		"POST /v1/webhook_endpoints/{webhook_endpoint}": {handle: (*action).updateEndpoint,
			params: []string{"url", "enabled_events", "description", "metadata.*", "disabled"}},
		"DELETE /v1/webhook_endpoints/{webhook_endpoint}": {handle: (*action).deleteEndpoint},
	}
}

// createEndpoint answers with the signing secret, which no later answer shows.
func (a *action) createEndpoint(r *request) (object, error) {
	if version := text(r.Params, "api_version"); version != "" && version != a.contract.Version() {
		return nil, notEmulated("events in API version " + version)
	}
	endpoint := a.newEndpoint(text(r.Params, "url"), "whsec_"+randomText(32), r.Params)
	shown := clone(endpoint)
	shown["secret"] = a.store.lookUp(text(endpoint, "id")).Private["secret"]
	return shown, nil
}

func (a *action) newEndpoint(url, secret string, params object) object {
	endpoint := a.create("webhook_endpoint", newID("we"))
	endpoint["url"], endpoint["description"] = url, nil
	assign(endpoint, params, "enabled_events", "description", "api_version")
	mergeMetadata(endpoint, params)
	a.store.save(endpoint).Private["secret"] = secret
	return endpoint
}

func (a *action) updateEndpoint(r *request) (object, error) {
	endpoint, err := a.lookUp("webhook_endpoint", "webhook_endpoint", r.id())
	if err != nil {
		return nil, err
	}
	assign(endpoint, r.Params, "url", "enabled_events", "description")
	mergeMetadata(endpoint, r.Params)
	if disabled, given := r.Params["disabled"].(bool); given {
		endpoint["status"] = map[bool]string{true: "disabled", false: "enabled"}[disabled]
	}
	return endpoint, nil
}

func (a *action) deleteEndpoint(r *request) (object, error) {
	endpoint, err := a.lookUp("webhook_endpoint", "webhook_endpoint", r.id())
	if err != nil {
		return nil, err
	}
	a.store.remove(text(endpoint, "id"))
	return object{"id": endpoint["id"], "object": "webhook_endpoint", "deleted": true}, nil
}

// endpointsFor lists the enabled endpoints that want a type of event.
func (a *action) endpointsFor(eventType string) []object {
	var wanting []object
	for _, r := range a.store.all("webhook_endpoint") {
		types, _ := r.Object["enabled_events"].([]any)
		if r.Object["status"] == "enabled" && (slices.Contains(types, any("*")) || slices.Contains(types, any(eventType))) {
			wanting = append(wanting, r.Object)
		}
	}
	return wanting
}
