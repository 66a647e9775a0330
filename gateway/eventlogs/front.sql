-- The front store: one file, one sequence of positions, one transaction for consent and events.
-- No column holds an identifier; MACs stand in `identifiers` and `refusals` alone.
PRAGMA user_version = 1;             -- the form of this file: an older program refuses a newer one
CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  position INTEGER NOT NULL,         -- newest position given out
  record INTEGER NOT NULL,           -- newest consent record number (gapless)
  clock INTEGER NOT NULL             -- newest `received`, UTC ms: never runs back
);
INSERT INTO head VALUES (1, 0, 0, 0);
CREATE TABLE people (
  slot INTEGER PRIMARY KEY,
  key_id INTEGER NOT NULL,
  site TEXT NOT NULL,
  device BLOB                        -- SHA-256 of the device secret
);
CREATE TABLE identifiers (
  mac BLOB PRIMARY KEY,
  slot INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX identifiers_by_slot ON identifiers (slot);
CREATE TABLE states (
  slot INTEGER PRIMARY KEY,
  state BLOB NOT NULL
);
CREATE TABLE refusals (              -- own refusals of people of whom nothing is held
  mac BLOB PRIMARY KEY,
  state BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE clusters (              -- linked slots only
  slot INTEGER PRIMARY KEY,
  person INTEGER NOT NULL
);
CREATE INDEX clusters_by_person ON clusters (person);
CREATE TABLE records (
  record INTEGER PRIMARY KEY,
  position INTEGER NOT NULL UNIQUE,
  slot INTEGER,                      -- NULL: unlinked
  other INTEGER,                     -- the second slot of a link
  kind TEXT NOT NULL,
  received INTEGER NOT NULL,
  granted TEXT NOT NULL,             -- JSON list of leaves that hold after this record
  body BLOB NOT NULL,                -- sealed under the person's key; plain where unlinked
  nonce BLOB NOT NULL,
  commitment BLOB NOT NULL
);
CREATE INDEX records_by_slot ON records (slot, record);
CREATE TABLE revoked (               -- newest position at which a slot stopped granting a purpose
  slot INTEGER NOT NULL,
  purpose TEXT NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (slot, purpose)
) WITHOUT ROWID;
CREATE INDEX revoked_by_position ON revoked (position);
CREATE TABLE log (
  position INTEGER PRIMARY KEY,      -- of the group's last event
  count INTEGER NOT NULL,
  received INTEGER NOT NULL,
  payload BLOB NOT NULL              -- MessagePack: [[position, slot, sealed event], …]
);
CREATE TABLE dedup (
  key BLOB PRIMARY KEY,              -- MAC of (source, message id)
  body BLOB NOT NULL,                -- keyed hash of the content
  position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE contacts (
  slot INTEGER NOT NULL,
  kind TEXT NOT NULL,
  position INTEGER NOT NULL,
  mac BLOB NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (slot, kind)
) WITHOUT ROWID;
CREATE TABLE counters (
  source TEXT NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (source, outcome, reason)
) WITHOUT ROWID;
CREATE TABLE undeclared (            -- names of properties that arrived often and no policy declares
  source TEXT NOT NULL,
  name TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (source, name)
) WITHOUT ROWID;
