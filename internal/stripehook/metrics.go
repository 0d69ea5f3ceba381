package stripehook

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	received          *prometheus.CounterVec // by status
	finished          *prometheus.CounterVec // by status and reason
	signatureFailures prometheus.Counter
	secretUsed        *prometheus.CounterVec // by index: one that is not used any more can be retired
	versions          *prometheus.GaugeVec   // by api_version: 1 where seen
	alarms            *prometheus.CounterVec // by reason
	dropped           prometheus.Counter
	circuitOpen       prometheus.Gauge
	drift             *prometheus.CounterVec // by kind of object
	swept             prometheus.Counter

	pendingAge, pending, parked, dead, quarantined *prometheus.Desc
	roundAge                                       map[string]*prometheus.Desc // by name

	mu   sync.Mutex
	seen map[string]bool // versions, bounded
}

// alarmReasons are there from the beginning: a counter that appears with its first event has no rise that an alert could see.
var alarmReasons = []string{
	reasonThin, reasonMalformed, reasonLivemode, reasonGone, reasonObject, reasonDecode, reasonEnvironment, reasonClaim,
	"api_version", "catalog_drift", "credit_shortfall", "dead", "dispute", "finalization_failed", "fraud_warning", "grant_quarantined",
	"key_refused", "no_event", "no_period", "over_seats", "ownership_claim", "refund_failed", "stripe_refused", "sweep_gap", "unknown_billing_reason",
	"unknown_price", "unknown_status", "upgrade_billed_late",
}

// quarantineReasons are shown with 0, too.
var quarantineReasons = []string{reasonClaim, reasonDecode, reasonEnvironment, reasonLivemode, reasonMalformed, reasonObject, reasonThin}

// maxVersions bounds the label of versions: what Stripe sends is its own.
const maxVersions = 50

func newMetrics(secrets int) *metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "saaskit", Subsystem: "stripe", Name: name, Help: help}
	}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("saaskit_stripe_"+name, help, nil, nil)
	}
	m := &metrics{
		received:          prometheus.NewCounterVec(counter("events_received_total", "New events by the state they were stored in."), []string{"status"}),
		finished:          prometheus.NewCounterVec(counter("events_finished_total", "Events that came to an end, by state and reason."), []string{"status", "reason"}),
		signatureFailures: prometheus.NewCounter(counter("signature_failures_total", "Deliveries refused for their signature.")),
		secretUsed:        prometheus.NewCounterVec(counter("secret_used_total", "Verified deliveries by the index of the secret."), []string{"index"}),
		versions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "saaskit", Subsystem: "stripe", Name: "api_version_seen",
			Help: "API versions in which events have arrived."}, []string{"version"}),
		alarms:      prometheus.NewCounterVec(counter("alarms_total", "What somebody has to look at, by reason."), []string{"reason"}),
		dropped:     prometheus.NewCounter(counter("writes_dropped_total", "Looks that were overtaken by a later one.")),
		circuitOpen: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "saaskit", Subsystem: "stripe", Name: "circuit_open", Help: "1 while Stripe refuses our key."}),
		drift:       prometheus.NewCounterVec(counter("drift_repaired_total", "Objects that differed from Stripe without an event, by kind."), []string{"kind"}),
		swept:       prometheus.NewCounter(counter("events_swept_total", "Events that no delivery has brought.")),
		roundAge: map[string]*prometheus.Desc{
			roundSweep:     desc("sweep_age_seconds", "How far behind the last whole sweep of Stripe's events is."),
			roundReconcile: desc("reconcile_age_seconds", "Since the last whole look at what may change without an event."),
			roundCensus:    desc("census_age_seconds", "Since Stripe's lists were last compared, all of them, with what we know."),
		},
		pendingAge:  desc("oldest_pending_seconds", "Age of the oldest event that waits, but for those that are parked."),
		pending:     desc("events_pending", "Events that wait."),
		parked:      desc("events_parked", "Events that wait for their customer or object to be known here."),
		dead:        desc("events_dead", "Events given up after the last attempt."),
		quarantined: prometheus.NewDesc("saaskit_stripe_events_quarantined", "Events kept aside, by reason.", []string{"reason"}, nil),
		seen:        map[string]bool{},
	}
	// There from the beginning, each: see alarmReasons.
	for _, reason := range alarmReasons {
		m.alarms.WithLabelValues(reason)
	}
	for _, status := range []string{statusPending, statusIgnored, statusQuarantined} {
		m.received.WithLabelValues(status)
	}
	m.finished.WithLabelValues(statusDone, "")
	m.finished.WithLabelValues("dead", "")
	for _, kind := range []string{kindSubscription, kindInvoice, kindCharge, kindSession, kindCustomer} {
		m.drift.WithLabelValues(kind)
	}
	for i := range secrets {
		m.secretUsed.WithLabelValues(strconv.Itoa(i))
	}
	m.versions.WithLabelValues(apiVersion).Set(0)
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.received, m.finished, m.signatureFailures, m.secretUsed, m.versions, m.alarms, m.dropped, m.circuitOpen, m.drift, m.swept}
}

// Describe makes the service a prometheus.Collector.
func (s *Service) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.metrics.collectors() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{s.metrics.pendingAge, s.metrics.pending, s.metrics.parked, s.metrics.dead, s.metrics.quarantined} {
		ch <- d
	}
	for _, d := range s.metrics.roundAge {
		ch <- d
	}
}

// Collect gives the counters, and the state of the inbox as the database has it. Without the database that part is left out.
func (s *Service) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.metrics.collectors() {
		c.Collect(ch)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	now := s.now()
	state, err := s.queries().StripeInboxState(ctx, now)
	if err != nil {
		s.log.WarnContext(ctx, "inbox not measured", "error", err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(s.metrics.pendingAge, max(0, now.Sub(state.OldestPending).Seconds()))
	gauge(s.metrics.pending, float64(state.Pending))
	gauge(s.metrics.parked, float64(state.Parked))
	gauge(s.metrics.dead, float64(state.Dead))
	reasons, err := s.queries().ListQuarantineReasons(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "inbox not measured", "error", err)
		return
	}
	counts := map[string]int64{}
	for _, reason := range quarantineReasons {
		counts[reason] = 0
	}
	for _, r := range reasons {
		counts[r.Reason] = r.Events
	}
	for reason, n := range counts {
		ch <- prometheus.MustNewConstMetric(s.metrics.quarantined, prometheus.GaugeValue, float64(n), reason)
	}
	if err := s.roundAges(ctx, now, gauge); err != nil {
		s.log.WarnContext(ctx, "inbox not measured", "error", err)
	}
}

// roundAges measures how long ago each round was, and before the first one how long it has been due.
func (s *Service) roundAges(ctx context.Context, now time.Time, gauge func(*prometheus.Desc, float64)) error {
	rounds, err := s.queries().ListStripeRounds(ctx)
	if err != nil {
		return err
	}
	for _, r := range rounds {
		since := r.Since
		if r.Name == roundSweep {
			watermark, err := s.queries().GetStripeSweep(ctx)
			if err == nil {
				since = watermark
			} else if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		if d := s.metrics.roundAge[r.Name]; d != nil {
			gauge(d, max(0, now.Sub(since).Seconds()))
		}
	}
	return nil
}

// Alarm tells the operator of something that others have met at Stripe and that no retry repairs.
func (s *Service) Alarm(ctx context.Context, reason string, attrs ...any) {
	s.alarm(ctx, reason, attrs...)
}

// alarm tells the operator of something that no retry repairs.
func (s *Service) alarm(ctx context.Context, reason string, attrs ...any) {
	s.metrics.alarms.WithLabelValues(reason).Inc()
	s.log.ErrorContext(ctx, "stripe alarm", append([]any{"reason", reason}, attrs...)...)
}

// noteVersion alarms once for each version that events come in: the endpoint may render any, but somebody should know.
func (s *Service) noteVersion(ctx context.Context, e envelope) {
	s.metrics.mu.Lock()
	known := e.APIVersion == "" || s.metrics.seen[e.APIVersion] || len(s.metrics.seen) >= maxVersions
	if !known {
		s.metrics.seen[e.APIVersion] = true
	}
	s.metrics.mu.Unlock()
	if known {
		return
	}
	s.metrics.versions.WithLabelValues(e.APIVersion).Set(1)
	if e.APIVersion != apiVersion {
		s.alarm(ctx, "api_version", "version", e.APIVersion, "event", e.ID)
	}
}
