package catalog

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// What Stripe and our tables take.
const (
	maxAmount   = 99_999_999 // eight digits
	maxCredits  = 1_000_000_000_000
	maxName     = 100
	maxText     = 500
	maxTrial    = 730
	maxQuantity = 100_000
)

// Load reads and checks a catalog.yaml. Where it cannot be used the error is [Mistakes], with all of them.
func Load(source []byte) (Document, error) {
	file, err := parser.ParseBytes(source, 0)
	if err != nil {
		return Document{}, syntaxMistake(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return Document{}, Mistakes{{Line: 1, Message: "the file has to hold one document"}}
	}
	r := &reader{}
	doc := r.document(file.Docs[0].Body)
	return doc, r.err()
}

func syntaxMistake(err error) error {
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		return Mistakes{{Line: syntax.GetToken().Position.Line, Message: syntax.GetMessage()}}
	}
	return Mistakes{{Line: 1, Message: err.Error()}}
}

func (r *reader) document(n ast.Node) Document {
	f := r.open(n, "the catalogue", "currencies", "tiers", "credit_packs", "meters")
	d := Document{Currencies: r.currencies(f), Tiers: []TierSpec{}, CreditPacks: []PackSpec{}, Meters: []MeterSpec{}}
	u := uniques{r: r, seen: map[string]int{}}
	for _, n := range f.list("tiers") {
		d.Tiers = append(d.Tiers, r.tier(n, d.Currencies, u))
	}
	for _, n := range f.list("credit_packs") {
		d.CreditPacks = append(d.CreditPacks, r.pack(n, d.Currencies, u))
	}
	for _, n := range f.list("meters") {
		m := r.open(n, "a meter", "id", "name", "unit")
		id := m.id(u, "meter")
		m.what = fmt.Sprintf("meter %q", id)
		d.Meters = append(d.Meters, MeterSpec{ID: id, Name: m.text("name", maxName), Unit: m.text("unit", maxName)})
	}
	r.checkFreeTier(f, d.Tiers)
	return d
}

func (r *reader) currencies(f fields) []string {
	list := []string{}
	for _, n := range f.list("currencies") {
		s, ok := n.(*ast.StringNode)
		switch {
		case !ok || !currencyPattern.MatchString(s.Value):
			r.fail(lineOf(n), "a currency has to be three small letters, such as usd")
		case slices.Contains(list, s.Value):
			r.fail(lineOf(n), "currency %s is there twice", s.Value)
		default:
			list = append(list, s.Value)
		}
	}
	if len(list) == 0 {
		r.fail(f.lineOf("currencies"), "the catalogue needs at least one currency in \"currencies\"")
	}
	return list
}

func (r *reader) tier(n ast.Node, currencies []string, u uniques) TierSpec {
	f := r.open(n, "a tier", "id", "name", "description", "rank", "features", "limits", "credits", "trial_days", "max_quantity", "prices")
	t := TierSpec{ID: f.id(u, "tier")}
	f.what = fmt.Sprintf("tier %q", t.ID)
	t.Name, t.Description = f.text("name", maxName), f.text("description", maxText)
	t.Rank = r.rank(f, u)
	t.Features = r.features(f)
	if n, ok := f.required("limits"); ok {
		l := r.open(n, "limits of "+f.what, "requests_per_minute", "burst", "api_keys")
		t.Limits = Limits{
			RequestsPerMinute: int(l.number("requests_per_minute", 1, 10_000_000)),
			Burst:             int(l.number("burst", 1, 10_000_000)),
			APIKeys:           int(l.number("api_keys", 0, 100_000)),
		}
	}
	if f.has("credits") {
		c := r.open(f.values["credits"], "credits of "+f.what, "amount", "every", "rollover")
		t.Credits = Allowance{Amount: c.number("amount", 0, maxCredits), Rollover: c.flag("rollover")}
		if every := c.text("every", maxName); every != Month && every != "" {
			r.fail(c.lineOf("every"), "credits of %s come every month, not every %s", f.what, every)
		}
	}
	if f.has("trial_days") {
		t.TrialDays = int(f.number("trial_days", 0, maxTrial))
	}
	if f.has("max_quantity") {
		t.MaxQuantity = f.number("max_quantity", 1, maxQuantity)
	}
	t.Prices = r.tierPrices(f, t.ID, currencies, u)
	return t
}

func (r *reader) rank(f fields, u uniques) int {
	before := len(r.mistakes)
	rank := f.number("rank", 0, 1_000_000)
	if len(r.mistakes) == before {
		u.add(f.lineOf("rank"), "rank", fmt.Sprint(rank))
	}
	return int(rank)
}

func (r *reader) features(f fields) []Feature {
	list := []Feature{}
	own := uniques{r: r, seen: map[string]int{}}
	for _, n := range f.list("features") {
		x := r.open(n, "a feature of "+f.what, "id", "name", "value")
		id := x.id(own, "feature")
		x.what = fmt.Sprintf("feature %q of %s", id, f.what)
		list = append(list, Feature{ID: id, Name: x.text("name", maxName), Value: x.optionalText("value", maxName)})
	}
	return list
}

func (r *reader) tierPrices(f fields, id string, currencies []string, u uniques) []PriceSpec {
	list := []PriceSpec{}
	if !f.has("prices") {
		return list
	}
	intervals := r.open(f.values["prices"], "prices of "+f.what, Month, Year)
	for _, interval := range intervals.names() {
		for _, p := range r.prices(intervals.values[interval], interval+" prices of "+f.what, currencies) {
			p.Interval = interval
			u.add(intervals.lineOf(interval), "lookup key", tierKey(id, p.Interval, p.Currency))
			list = append(list, p)
		}
	}
	return list
}

// prices reads one amount for each currency of the catalogue.
func (r *reader) prices(n ast.Node, what string, currencies []string) []PriceSpec {
	f := r.open(n, what)
	list := []PriceSpec{}
	for _, c := range f.names() {
		if !slices.Contains(currencies, c) {
			r.fail(f.lineOf(c), "%s name %q, which is not among the currencies of the catalogue", what, c)
		}
	}
	for _, c := range currencies {
		if !f.has(c) {
			r.fail(f.line, "%s lack the currency %s", what, c)
			continue
		}
		list = append(list, PriceSpec{Currency: c, Amount: f.number(c, 1, maxAmount)})
	}
	return list
}

func (r *reader) pack(n ast.Node, currencies []string, u uniques) PackSpec {
	f := r.open(n, "a credit pack", "id", "name", "credits", "expires_after_days", "prices")
	p := PackSpec{ID: f.id(u, "credit pack"), Prices: []PriceSpec{}}
	f.what = fmt.Sprintf("credit pack %q", p.ID)
	p.Name, p.Credits = f.text("name", maxName), f.number("credits", 1, maxCredits)
	if f.has("expires_after_days") {
		p.ExpiresAfterDays = int(f.number("expires_after_days", 1, 36_500))
	}
	if n, ok := f.required("prices"); ok {
		p.Prices = r.prices(n, "prices of "+f.what, currencies)
	}
	for _, price := range p.Prices {
		u.add(f.lineOf("prices"), "lookup key", packKey(p.ID, price.Currency))
	}
	return p
}

func (r *reader) checkFreeTier(f fields, tiers []TierSpec) {
	free := slices.IndexFunc(tiers, func(t TierSpec) bool { return t.ID == FreeTier })
	if free < 0 {
		r.fail(f.lineOf("tiers"), "there has to be a tier %q, which everybody has who pays for no other", FreeTier)
		return
	}
	nodes := f.list("tiers")
	for i, t := range tiers {
		switch {
		case i == free && len(t.Prices) > 0:
			r.fail(lineOf(nodes[i]), "tier %q has prices; it has to be free", FreeTier)
		case i != free && len(t.Prices) == 0:
			r.fail(lineOf(nodes[i]), "tier %q has no prices; only tier %q is free", t.ID, FreeTier)
		case t.Rank < tiers[free].Rank:
			r.fail(lineOf(nodes[i]), "tier %q has a lower rank than tier %q", t.ID, FreeTier)
		}
	}
}

var (
	idPattern       = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	currencyPattern = regexp.MustCompile(`^[a-z]{3}$`)
)

// id reads the id of something, which nothing else of its kind may have.
func (f fields) id(u uniques, kind string) string {
	id := f.text("id", 40)
	if id == "" {
		return id
	}
	if !idPattern.MatchString(id) {
		f.r.fail(f.lineOf("id"), "id %q of a %s has to be small letters, digits and _, beginning with a letter", id, kind)
		return id
	}
	u.add(f.lineOf("id"), kind, id)
	return id
}

// uniques finds what is there twice.
type uniques struct {
	r    *reader
	seen map[string]int // line of the first, by kind and value
}

func (u uniques) add(line int, kind, value string) {
	first, taken := u.seen[kind+" "+value]
	if taken {
		u.r.fail(line, "%s %q is there twice; first in line %d", kind, value, first)
		return
	}
	u.seen[kind+" "+value] = line
}
