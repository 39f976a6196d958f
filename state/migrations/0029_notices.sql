-- What is to be told of an operation that has succeeded, but not quite as it was asked for.
ALTER TABLE broker.operations ADD COLUMN notice text NOT NULL DEFAULT '';
