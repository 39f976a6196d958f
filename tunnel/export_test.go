package tunnel

import "context"

// Renew does at once what Run does from time to time.
func (c *Client) Renew(ctx context.Context) error { return c.renew(ctx) }

// Break loses the connection.
func (c *Client) Break() { c.session.Close() }
