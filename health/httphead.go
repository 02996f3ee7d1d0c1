package health

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"slices"
)

// What clients take that net/http does not: servers have it, and their users see the page.
var (
	oddVersion = regexp.MustCompile(`(?i)^HTTP/([0-9](?:\.[0-9])?) `) // also HTTP/2 in text, and http/1.1
	negative   = regexp.MustCompile(`(?i)^Content-Length:[ \t]*-`)    // a length that is not known
)

// mendHead reads the head of an answer, and has the session read it again without what
// net/http would refuse: another spelling of the version, lines that are no header, and a
// negative Content-Length.
func (s *session) mendHead() error {
	var head []byte
	dropped := false // the line before, which a folded one goes on with
	for n := 0; ; n++ {
		line, err := s.in.ReadBytes('\n')
		if err != nil {
			return err
		}
		switch text := bytes.TrimRight(line, "\r\n"); {
		case n == 0:
			line = mendVersion(line)
		case len(text) == 0:
			head = append(head, line...)
			s.in = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), s.in), maxLine)
			return nil
		case text[0] == ' ' || text[0] == '\t':
			if dropped {
				continue
			}
		default:
			if dropped = !bytes.Contains(text, []byte(":")) || negative.Match(text); dropped {
				continue
			}
		}
		head = append(head, line...)
	}
}

// mendVersion returns a status line with a version of HTTP/1.
func mendVersion(line []byte) []byte {
	m := oddVersion.FindSubmatch(line)
	if m == nil {
		return line
	}
	version := m[1]
	if version[0] != '1' || len(version) == 1 {
		version = []byte("1.1")
	}
	return slices.Concat([]byte("HTTP/"), version, []byte(" "), line[len(m[0]):])
}
