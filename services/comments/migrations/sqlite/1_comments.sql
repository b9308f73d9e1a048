-- Whatever writes a row, its ids are ids and its time is one that the contract can tell.
CREATE TABLE comments (
    id TEXT NOT NULL PRIMARY KEY CHECK (
        id GLOB '[a-z0-9]*' AND id NOT GLOB '*[^a-z0-9-]*' AND length(id) <= 63),
    product_id TEXT NOT NULL CHECK (
        product_id GLOB '[a-z0-9]*' AND product_id NOT GLOB '*[^a-z0-9-]*'
        AND length(product_id) <= 63),
    author_id TEXT NOT NULL CHECK (
        author_id GLOB '[a-z0-9]*' AND author_id NOT GLOB '*[^a-z0-9-]*'
        AND length(author_id) <= 63),
    body TEXT NOT NULL,
    -- Microseconds since 1970, counted in milliseconds here; the years end with 9999.
    created_at INTEGER NOT NULL
        DEFAULT (1000 * CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER))
        CHECK (created_at BETWEEN 0 AND 253402300799999999),
    version INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A product's comments, the newest first, are read from its end.
CREATE INDEX comments_by_product ON comments (product_id, created_at, id);

-- A version is never used twice for one id: not after a change by hand, and not when a comment is
-- deleted and another of its id created. `highest` is the highest version ever deleted.
CREATE TABLE comments_deleted (
    one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    highest INTEGER NOT NULL
) STRICT;
INSERT INTO comments_deleted (highest) VALUES (0);

CREATE TRIGGER comments_version_insert AFTER INSERT ON comments WHEN NEW.version < 1
BEGIN
    UPDATE comments SET version = 1 + (SELECT highest FROM comments_deleted) WHERE id = NEW.id;
END;
CREATE TRIGGER comments_version_update AFTER UPDATE ON comments WHEN NEW.version <= OLD.version
BEGIN
    UPDATE comments SET version = OLD.version + 1 WHERE id = NEW.id;
END;
CREATE TRIGGER comments_version_delete AFTER DELETE ON comments
BEGIN
    UPDATE comments_deleted SET highest = OLD.version WHERE highest < OLD.version;
END;
