-- What a binding was told, for platforms that fetch it (OSB 2.17, "Fetching a Service Binding"): sealed; NULL until its
-- user is made. Bindings from before this have been told what is kept nowhere: theirs is empty.
ALTER TABLE broker.bindings ADD COLUMN credentials bytea;
UPDATE broker.bindings SET credentials = '';
