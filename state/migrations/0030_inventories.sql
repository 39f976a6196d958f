-- What each backend could serve when it last told it: its plans stay on sale while it does not answer.
CREATE TABLE broker.inventories (
    backend   text PRIMARY KEY,
    inventory json NOT NULL -- as it was told, with the order of its keys
);
