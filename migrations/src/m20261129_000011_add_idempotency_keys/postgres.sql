-- The answers of calls with an idempotency key, written in the transaction of the call. A repeated call gets the stored answer.
-- The primary key keeps two instances from carrying out the same call.
CREATE TABLE idempotency_key (
    organization_id  uuid        NOT NULL,
    key              bytea       NOT NULL, -- SHA-256 of the key
    request          bytea       NOT NULL, -- hash of the key and the request, which only somebody who knows the key can compute
    revision         bigint      NOT NULL, -- the revision of the answer
    answer           bytea       NOT NULL, -- the message of the answer, in protobuf
    customers        uuid[],               -- the customers that the answer names: it is erased with them
    expires_at       timestamptz NOT NULL,
    PRIMARY KEY (organization_id, key)
);

CREATE INDEX idempotency_key_expiry ON idempotency_key (expires_at);
CREATE INDEX idempotency_key_customers ON idempotency_key USING gin (customers);
