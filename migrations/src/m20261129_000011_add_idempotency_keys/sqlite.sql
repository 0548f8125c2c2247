-- The answers of calls with an idempotency key, written in the transaction of the call. A repeated call gets the stored answer.
CREATE TABLE idempotency_key (
    organization_id  BLOB    NOT NULL,
    key              BLOB    NOT NULL, -- SHA-256 of the key
    request          BLOB    NOT NULL, -- hash of the key and the request, which only somebody who knows the key can compute
    revision         INTEGER NOT NULL, -- the revision of the answer
    answer           BLOB    NOT NULL, -- the message of the answer, in protobuf
    customers        BLOB,             -- the customers that the answer names, one id after the other: it is erased with them
    expires_at       TEXT    NOT NULL,
    PRIMARY KEY (organization_id, key)
) STRICT;

CREATE INDEX idempotency_key_expiry ON idempotency_key (expires_at);
