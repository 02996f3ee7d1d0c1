package ipvsadm

// id is what an option sets; several options may set the same. The order is that in
// which ipvsadm checks whether they are legal.
type id uint8

const (
	numeric id = iota
	connection
	serviceAddress
	scheduler
	persistent
	netmask
	realServer
	forwardingMethod
	weight
	uThreshold
	lThreshold
	mcastInterface
	timeout
	daemon
	stats
	rate
	thresholds
	persistentConn
	nosort
	syncid
	exact
	ops
	engine
	schedFlags
	mcastGroup
	mcastPort
	mcastTTL
	syncMaxlen
	tunInfo
	tunType
	tunPort
	tunNocsum
	tunCsum
	tunRemcsum
	ids

	// What follows may be given any number of times, with any command.
	ipv6 = ids
	sort = ids + 1

	// What follows are commands.
	command = ids + 2
)

// names are those in messages.
var names = [ids]string{
	numeric: "numeric", connection: "connection", serviceAddress: "service-address", scheduler: "scheduler",
	persistent: "persistent", netmask: "netmask", realServer: "real-server", forwardingMethod: "forwarding-method",
	weight: "weight", uThreshold: "u-threshold", lThreshold: "l-threshold", mcastInterface: "mcast-interface",
	timeout: "timeout", daemon: "daemon", stats: "stats", rate: "rate", thresholds: "thresholds",
	persistentConn: "persistent-conn", nosort: "nosort", syncid: "syncid", exact: "exact", ops: "ops", engine: "pe",
	schedFlags: "sched-flags", mcastGroup: "mcast-group", mcastPort: "mcast-port", mcastTTL: "mcast-ttl",
	syncMaxlen: "sync-maxlen", tunInfo: "tun-info", tunType: "tun-type", tunPort: "tun-port",
	tunNocsum: "tun-nocsum", tunCsum: "tun-csum", tunRemcsum: "tun-remcsum",
}

// argument says whether an option takes one.
type argument uint8

const (
	without argument = iota
	with
	optional
)

// option is one spelling or two of an option.
type option struct {
	long  string
	short byte // 0 where there is none
	argument
	id
	op Op // of a command
}

var options = []option{
	{"add-service", 'A', without, command, AddService},
	{"edit-service", 'E', without, command, EditService},
	{"delete-service", 'D', without, command, DeleteService},
	{"clear", 'C', without, command, Clear},
	{"list", 'L', without, command, List},
	{"list", 'l', without, command, List},
	{"zero", 'Z', without, command, Zero},
	{"add-server", 'a', without, command, AddServer},
	{"edit-server", 'e', without, command, EditServer},
	{"delete-server", 'd', without, command, DeleteServer},
	{"set", 0, without, command, SetTimeouts},
	{"help", 'h', without, command, Help},
	{"version", 'v', without, command, Version},
	{"restore", 'R', without, command, Restore},
	{"save", 'S', without, command, Save},
	{"start-daemon", 0, with, command, StartDaemon},
	{"stop-daemon", 0, with, command, StopDaemon},

	{"tcp-service", 't', with, serviceAddress, 0},
	{"udp-service", 'u', with, serviceAddress, 0},
	{"sctp-service", 0, with, serviceAddress, 0},
	{"fwmark-service", 'f', with, serviceAddress, 0},
	{"scheduler", 's', with, scheduler, 0},
	{"persistent", 'p', optional, persistent, 0},
	{"netmask", 'M', with, netmask, 0},
	{"real-server", 'r', with, realServer, 0},
	{"masquerading", 'm', without, forwardingMethod, 0},
	{"ipip", 'i', without, forwardingMethod, 0},
	{"gatewaying", 'g', without, forwardingMethod, 0},
	{"weight", 'w', with, weight, 0},
	{"u-threshold", 'x', with, uThreshold, 0},
	{"l-threshold", 'y', with, lThreshold, 0},
	{"numeric", 'n', without, numeric, 0},
	{"connection", 'c', without, connection, 0},
	{"mcast-interface", 0, with, mcastInterface, 0},
	{"mcast-group", 0, with, mcastGroup, 0},
	{"mcast-port", 0, with, mcastPort, 0},
	{"mcast-ttl", 0, with, mcastTTL, 0},
	{"sync-maxlen", 0, with, syncMaxlen, 0},
	{"syncid", 0, with, syncid, 0},
	{"timeout", 0, without, timeout, 0},
	{"daemon", 0, without, daemon, 0},
	{"stats", 0, without, stats, 0},
	{"rate", 0, without, rate, 0},
	{"thresholds", 0, without, thresholds, 0},
	{"persistent-conn", 0, without, persistentConn, 0},
	{"nosort", 0, without, nosort, 0},
	{"sort", 0, without, sort, 0},
	{"exact", 'X', without, exact, 0},
	{"ipv6", '6', without, ipv6, 0},
	{"ops", 'o', without, ops, 0},
	{"pe", 0, with, engine, 0},
	{"sched-flags", 'b', with, schedFlags, 0},
	{"tun-info", 0, without, tunInfo, 0},
	{"tun-type", 0, with, tunType, 0},
	{"tun-port", 0, with, tunPort, 0},
	{"tun-nocsum", 0, without, tunNocsum, 0},
	{"tun-csum", 0, without, tunCsum, 0},
	{"tun-remcsum", 0, without, tunRemcsum, 0},
}

// legal is what a command may and must be given.
type legal struct {
	name     string // in messages
	required set
	allowed  set // besides what is required
}

var (
	serviceOptions = of(scheduler, persistent, netmask, ops, engine, schedFlags)
	serverOptions  = of(forwardingMethod, weight, uThreshold, lThreshold, tunType, tunPort, tunNocsum, tunCsum, tunRemcsum)
	ofServer       = of(serviceAddress, realServer)
)

var rules = [...]legal{
	AddService:    {"add-service", of(serviceAddress), serviceOptions},
	EditService:   {"edit-service", of(serviceAddress), serviceOptions},
	DeleteService: {"delete-service", of(serviceAddress), 0},
	Clear:         {"flush", 0, 0},
	AddServer:     {"add-server", ofServer, serverOptions},
	EditServer:    {"edit-server", ofServer, serverOptions},
	DeleteServer:  {"delete-server", ofServer, 0},
	List: {"list", 0, of(numeric, connection, serviceAddress, timeout, daemon, stats, rate, thresholds, persistentConn,
		nosort, syncid, exact, tunInfo)},
	Zero:        {"zero", 0, of(serviceAddress)},
	Save:        {"save", 0, of(numeric)},
	Restore:     {"restore", 0, 0},
	SetTimeouts: {"set", 0, 0},
	StartDaemon: {"start-daemon", 0, of(mcastInterface, syncid, mcastGroup, mcastPort, mcastTTL, syncMaxlen)},
	StopDaemon:  {"stop-daemon", 0, of(syncid)},
}

// set is a set of ids.
type set uint64

func of(members ...id) set {
	var s set
	for _, m := range members {
		s |= 1 << m
	}
	return s
}

func (s set) has(m id) bool     { return s&(1<<m) != 0 }
func (s set) hasAny(o set) bool { return s&o != 0 }
