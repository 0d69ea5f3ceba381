package stripehook

// Failpoints are called at the steps between which a process may die or stall. A test holds a step by not returning, and
// fails it by an error. All are nil in production.
type Failpoints struct {
	BeforeInsert  func(eventID string) error // intake: signature verified, nothing written
	BeforeStored  func(eventID string) error // intake: event and job written, not committed
	AfterStored   func(eventID string) error // intake: committed, not answered
	AfterPage     func(eventID string) error // sweep: a page of events stored
	AfterSequence func(objectID string) error
	AfterFetch    func(objectID string) error
	BeforeCommit  func(objectID string) error // effects written, not committed
	AfterCommit   func(objectID string) error // root settled
}

func at(point func(string) error, id string) error {
	if point == nil {
		return nil
	}
	return point(id)
}
