CREATE TABLE products (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    category TEXT NOT NULL DEFAULT '',
    price_cents INTEGER NOT NULL DEFAULT 0 CHECK (price_cents >= 0),
    stock INTEGER NOT NULL DEFAULT 0 CHECK (stock >= 0),
    version INTEGER NOT NULL DEFAULT 0
) STRICT;
-- Dearest first is the same index backwards; those of one price are sorted as they come.
CREATE INDEX products_by_price ON products (price_cents, id);
CREATE INDEX products_by_category ON products (category, price_cents, id);

-- A version is never used twice for one id: not after a change by hand, and not when a product is
-- deleted and another of its id created. `highest` is the highest version ever deleted.
CREATE TABLE products_deleted (
    one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    highest INTEGER NOT NULL
) STRICT;
INSERT INTO products_deleted (highest) VALUES (0);

CREATE TRIGGER products_version_insert AFTER INSERT ON products WHEN NEW.version < 1
BEGIN
    UPDATE products SET version = 1 + (SELECT highest FROM products_deleted) WHERE id = NEW.id;
END;
CREATE TRIGGER products_version_update AFTER UPDATE ON products
    WHEN NEW.id = OLD.id AND NEW.version <= OLD.version
BEGIN
    UPDATE products SET version = OLD.version + 1 WHERE id = NEW.id;
END;
-- As if it were deleted, and another created.
CREATE TRIGGER products_version_rename AFTER UPDATE ON products WHEN NEW.id <> OLD.id
BEGIN
    UPDATE products_deleted SET highest = OLD.version WHERE highest < OLD.version;
    UPDATE products SET version = 1 + (SELECT highest FROM products_deleted) WHERE id = NEW.id;
END;
CREATE TRIGGER products_version_delete AFTER DELETE ON products
BEGIN
    UPDATE products_deleted SET highest = OLD.version WHERE highest < OLD.version;
END;
