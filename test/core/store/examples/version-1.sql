-- A store as version 1 of the schema wrote it. Never changed: the newest program must open it.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
  position INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  pem TEXT NOT NULL,
  added_at_ms REAL NOT NULL
) STRICT;
CREATE TABLE tokens (
  key TEXT NOT NULL,
  slot TEXT NOT NULL CHECK (slot IN ('current', 'next')),
  profile TEXT NOT NULL,
  scope TEXT NOT NULL,
  token TEXT NOT NULL,
  granted TEXT NOT NULL,
  minted_at_ms REAL NOT NULL,
  expires_at_ms REAL NOT NULL,
  PRIMARY KEY (key, slot)
) STRICT;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('generation', '3');
INSERT INTO meta VALUES ('connection', '{"kind":"connected","sinceMs":1700000000000,"app":{"id":12345,"clientId":"Iv23li0000000000","slug":"ghe-example-com","name":"ghe-example-com","owner":{"type":"organization","login":"octo-org"},"htmlUrl":"https://github.com/apps/ghe-example-com","permissions":{"metadata":"read"}},"account":{"type":"organization","login":"octo-org"},"host":{"machineId":"0123456789abcdef","hostname":"ghe.example.com"},"enabledAtMs":1700000000000}');
INSERT INTO meta VALUES ('installations', '[{"id":67890,"account":{"type":"organization","login":"octo-org"},"repositorySelection":"selected","permissions":{"metadata":"read"},"htmlUrl":"https://github.com/organizations/octo-org/settings/installations/67890"}]');
INSERT INTO keys VALUES (0, 'SHA256:one', 'PEM one', 1700000000000);
INSERT INTO tokens VALUES ('["actions",67890,["web"],null]', 'current', 'actions', '{"installation":67890,"repositories":["web"]}', 'token one', '{"repositories":["web"],"permissions":{"metadata":"read"}}', 1700000000000, 1700003600000);
INSERT INTO facts VALUES ('clock.offset', '{"offsetMs":-1200}');
PRAGMA user_version = 1;
