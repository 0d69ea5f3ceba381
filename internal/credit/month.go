package credit

import "time"

// addMonths is n months after t. The 31st becomes the last day of a shorter month, and the 31st again of the next longer one:
// count from the same t.
func addMonths(t time.Time, n int) time.Time {
	t = t.UTC()
	year, month, day := t.Date()
	last := time.Date(year, month+time.Month(n)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Date(year, month+time.Month(n), min(day, last), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// monthAt is which month after anchor now is in: 0 is the first, less is before it.
func monthAt(anchor, now time.Time) int {
	anchor, now = anchor.UTC(), now.UTC()
	n := (now.Year()-anchor.Year())*12 + int(now.Month()-anchor.Month())
	if addMonths(anchor, n).After(now) {
		n--
	}
	return n
}

// longestMonth tells a month from what is made of several.
const longestMonth = 32 * 24 * time.Hour

// firstMonthEnd is where the first month of a period ends: with the period, unless that has several months.
func firstMonthEnd(start, end time.Time) time.Time {
	if end.Sub(start) <= longestMonth {
		return end
	}
	return addMonths(start, 1)
}

// MonthOf is the month that t is in of a period: all of it, unless it has several.
func MonthOf(start, end, t time.Time) (from, to time.Time) {
	if end.Sub(start) <= longestMonth {
		return start, end
	}
	n := max(0, monthAt(start, t))
	return addMonths(start, n), earlier(addMonths(start, n+1), end)
}

// MonthBefore is the month that t is in of those that lead to the end of a period, which is after t.
func MonthBefore(end, t time.Time) (from, to time.Time) {
	n := 1
	for addMonths(end, -n).After(t) {
		n++
	}
	return addMonths(end, -n), addMonths(end, 1-n)
}
