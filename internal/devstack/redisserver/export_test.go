package redisserver

import "context"

// Missing shows how the plan of apt-get is read.
var Missing = missing

// StartOn starts a server on a given port.
func StartOn(ctx context.Context, o Options, port int) error {
	b, err := find(ctx, o.Checkout, func(string, ...any) {})
	if err != nil {
		return err
	}
	return (&Server{binary: b, port: port}).launch(ctx)
}

// ErrPortTaken is what StartOn returns where another server has the port.
var ErrPortTaken = errPortTaken

// PID returns the server's process id.
func (s *Server) PID() int { return s.process.PID }

// Port returns the server's port.
func (s *Server) Port() int { return s.port }
