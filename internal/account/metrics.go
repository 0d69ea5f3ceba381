package account

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var oldestDeletion = prometheus.NewDesc("saaskit_user_deletion_oldest_seconds",
	"Age of the oldest deletion of a user that is not finished; 0 where none is open.", nil, nil)

// Describe makes the service a prometheus.Collector.
func (s *Service) Describe(ch chan<- *prometheus.Desc) { ch <- oldestDeletion }

// Collect measures what is open. Without the database it is left out.
func (s *Service) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	now := s.now()
	since, err := s.queries().OldestOpenDeletion(ctx, now)
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "deletions not measured", "error", err)
		return
	}
	ch <- prometheus.MustNewConstMetric(oldestDeletion, prometheus.GaugeValue, max(0, now.Sub(since).Seconds()))
}
