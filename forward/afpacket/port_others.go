//go:build !linux

package afpacket

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/golb/golb/forward"
)

// socket has the methods of Port, but no Port can be opened.
type socket struct{}

func unsupported() error {
	return fmt.Errorf("afpacket: packet sockets need Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func pin(int) error              { return unsupported() }
func processors() ([]int, error) { return nil, unsupported() }

func openGroup(Config, int) ([]*Port, error) { return nil, unsupported() }

func (*socket) recv([]forward.Frame) (int, error)      { return 0, unsupported() }
func (*socket) send([]forward.Frame) (int, error)      { return 0, unsupported() }
func (*socket) wake()                                  {}
func (*socket) setFilter(forward.Filter) (bool, error) { return false, unsupported() }
func (*socket) stats() forward.PortStats               { return forward.PortStats{} }
func (*socket) close() error                           { return unsupported() }
