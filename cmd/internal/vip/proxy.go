package vip

import (
	"context"
	"net/netip"
)

type proxy struct {
	rules   *Rules
	stands  netip.Prefix
	metrics *metrics
}

func (p *proxy) run(ctx context.Context) error {
	p.rules.problem("mode", "virtual addresses are not served: that needs the kernel's packet rules")
	p.rules.setReady()
	<-ctx.Done()
	return ctx.Err()
}
