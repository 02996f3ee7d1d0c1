package lb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/golb/golb/lb"
)

func TestDiffListsWhatChanged(t *testing.T) {
	base := func() lb.Config {
		web := lb.Service{Name: "web", VIP: vip4, Port: 80, Servers: []lb.Server{{Address: server4(1)}, {Name: "two", Address: server4(2)}}}
		dns := lb.Service{VIP: vip4, Port: 53, Protocol: lb.UDP, Servers: []lb.Server{{Address: server4(1)}}}
		return lb.Config{Interfaces: []string{"eth0"}, Services: []lb.Service{web, dns}}
	}
	tests := []struct {
		name string
		edit func(c *lb.Config)
		want []string
	}{
		{"nothing", func(*lb.Config) {}, nil},
		{"order of services", func(c *lb.Config) { c.Services[0], c.Services[1] = c.Services[1], c.Services[0] }, nil},
		{"a service more", func(c *lb.Config) {
			c.Services = append(c.Services, lb.Service{Name: "new", VIP: vip4, Port: 443})
		}, []string{"service new: added"}},
		{"a service less", func(c *lb.Config) { c.Services = c.Services[:1] }, []string{"service udp 192.0.2.80:53: removed"}},
		{"a name", func(c *lb.Config) { c.Services[0].Name = "www" }, []string{`service www: name: changed from "web" to "www"`}},
		{"servers", func(c *lb.Config) {
			c.Services[0].Servers = []lb.Server{{Address: server4(3)}, {Name: "two", Address: server4(2), Weight: new(7)}}
		}, []string{
			"service web: server 10.0.0.3:80: added", `service web: server two: weight: changed from "" to "7"`,
			"service web: server 10.0.0.1:80: removed",
		}},
		{"settings", func(c *lb.Config) {
			c.Settings.AnswerRate, c.Settings.Timeouts.UDP = 10, time.Minute
			c.Interfaces = append(c.Interfaces, "eth1")
		}, []string{
			`interfaces: changed from "eth0" to "eth0, eth1"`, `settings.timeouts.udp: changed from "" to "1m"`, `settings.answer_rate: changed from "" to "10"`,
		}},
		{"secrets", func(c *lb.Config) {
			c.Alerts.Mail = []lb.MailAlert{{To: []string{"a@example"}, Password: "secret"}}
			c.Services[0].Check = lb.Check{Type: "mysql", Interval: time.Second, Params: map[string]any{"password": "secret"}}
		}, []string{
			"alerts.mail: changed", `service web: check.type: changed from "" to "mysql"`, `service web: check.interval: changed from "" to "1s"`,
			"service web: check.password: changed",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, edited := base(), base()
			tt.edit(&edited)
			var got []string
			for _, c := range lb.Diff(&old, &edited) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			back := lb.Diff(&edited, &old)
			if (len(back) == 0) != (len(got) == 0) || strings.Contains(fmt.Sprint(back), "secret") {
				t.Errorf("the other way: %v", back)
			}
		})
	}
}
