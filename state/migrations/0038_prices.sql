-- What the plans of our broker are called and cost, by which usage is recorded of what other platforms have. A plan that is
-- not offered any more stays: there may be instances of it.
CREATE TABLE broker.prices (
    plan_id       text PRIMARY KEY,
    plan_name     text NOT NULL,
    offering_id   text NOT NULL,
    offering_name text NOT NULL,
    costs         jsonb NOT NULL
);
