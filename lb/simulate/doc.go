// Package simulate answers "where would this packet go?": it runs the real engine
// of package lb on a wire in memory with a clock that only turns when it is told
// to. No privileges, no network, any operating system, the same answer each time.
//
//	s, err := simulate.New(cfg, simulate.World{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	step, err := s.Send(packet)
//	fmt.Println(step.Server, step.Reason, len(step.Frames))
//
// A Simulator takes any lb.Config. A Scenario is a story told in ipvsadm commands
// and packets, of which Play answers each event as a Linux director running IPVS
// would; Run reads and writes them as JSON, a line each.
package simulate
