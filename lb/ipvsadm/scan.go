package ipvsadm

import "strings"

// scanner takes options off a command line the way the popt library does. Arguments
// between them are put aside.
type scanner struct {
	args     []string // what is left
	short    string   // what is left of a bundle of short options
	last     string   // the argument taken last, which is what messages show
	operands []string // arguments that belong to no option
	ended    bool     // by --
}

// given is an option with its argument.
type given struct {
	*option
	value string
	has   bool // whether there is a value
}

func (s *scanner) take() string {
	s.last, s.args = s.args[0], s.args[1:]
	return s.last
}

// next returns the next option; done where there is none.
func (s *scanner) next() (g given, done bool, err error) {
	for s.short == "" {
		if len(s.args) == 0 {
			return given{}, true, nil
		}
		arg := s.take()
		switch {
		case s.ended, arg == "-", !strings.HasPrefix(arg, "-"):
			s.operands = append(s.operands, arg)
		case arg == "--":
			s.ended = true
		case strings.HasPrefix(arg, "--"):
			name, value, has := strings.Cut(arg[2:], "=")
			g, err := s.complete(given{find(func(o *option) bool { return o.long == name }), value, has})
			return g, false, err
		default:
			s.short = arg[1:]
		}
	}
	letter := s.short[0]
	s.short = s.short[1:]
	g.option = find(func(o *option) bool { return o.short == letter })
	if g.option != nil && g.argument == without {
		g.has = strings.HasPrefix(s.short, "=")
	} else if s.short != "" {
		g.value, g.has = strings.TrimPrefix(s.short, "="), true
		s.short = ""
	}
	g, err = s.complete(g)
	return g, false, err
}

// complete gives an option the argument that follows it.
func (s *scanner) complete(g given) (given, error) {
	switch {
	case g.option == nil:
		return g, s.fail("unknown option")
	case g.argument == without && g.has:
		return g, s.fail("option does not take an argument")
	case g.argument == without || g.has:
		return g, nil
	case len(s.args) > 0 && (g.argument == with || !strings.HasPrefix(s.args[0], "-")):
		g.value, g.has = s.take(), true
	case g.argument == with:
		return g, s.fail("missing argument")
	}
	return g, nil
}

func (s *scanner) fail(problem string) error {
	return &Error{s.last + ": " + problem, 255}
}

func find(is func(*option) bool) *option {
	for i := range options {
		if is(&options[i]) {
			return &options[i]
		}
	}
	return nil
}
