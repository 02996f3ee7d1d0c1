package lb

// FTPState is how many FTP control connections and expectations are known.
func (b *Balancer) FTPState() (controls, expected int) {
	b.ftp.mu.Lock()
	defer b.ftp.mu.Unlock()
	return len(b.ftp.controls), int(b.ftp.expected.Load())
}
