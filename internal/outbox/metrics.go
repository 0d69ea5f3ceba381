package outbox

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	givenUp   *prometheus.CounterVec // by kind of message
	postponed prometheus.Counter
}

func newMetrics() metrics {
	m := metrics{
		givenUp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "saaskit_mails_given_up_total", Help: "Mails that nobody will get, by kind.",
		}, []string{"kind"}),
		postponed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "saaskit_mails_postponed_total", Help: "Attempts to send a mail that failed and are made again.",
		}),
	}
	// There from the beginning, each: a counter that appears with its first mail has no rise that an alert could see.
	for _, name := range templateFiles() {
		m.givenUp.WithLabelValues(kindOf(name))
	}
	return m
}

// Describe makes the delivery a prometheus.Collector.
func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	m.givenUp.Describe(ch)
	m.postponed.Describe(ch)
}

// Collect gives the counters.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	m.givenUp.Collect(ch)
	m.postponed.Collect(ch)
}
