-- Ids compare byte by byte, as on SQLite: pages follow that order.
CREATE TABLE products (
    id text COLLATE "C" PRIMARY KEY,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    category text COLLATE "C" NOT NULL DEFAULT '',
    price_cents bigint NOT NULL DEFAULT 0 CHECK (price_cents >= 0),
    stock bigint NOT NULL DEFAULT 0 CHECK (stock >= 0),
    version bigint NOT NULL DEFAULT 0
);
-- Dearest first is the same index backwards; those of one price are sorted as they come.
CREATE INDEX products_by_price ON products (price_cents, id);
CREATE INDEX products_by_category ON products (category, price_cents, id);

-- A version is never used twice for one id: not after a change by hand, and not when a product is
-- deleted and another of its id created. `highest` is the highest version ever deleted.
CREATE TABLE products_deleted (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    highest bigint NOT NULL
);
INSERT INTO products_deleted (highest) VALUES (0);

CREATE FUNCTION products_version() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.version := 1 + (SELECT highest FROM products_deleted);
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' AND NEW.id = OLD.id THEN
        NEW.version := OLD.version + 1;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        -- As if it were deleted, and another created.
        UPDATE products_deleted SET highest = OLD.version WHERE highest < OLD.version;
        NEW.version := 1 + (SELECT highest FROM products_deleted);
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE products_deleted SET highest = OLD.version WHERE highest < OLD.version;
    ELSE
        UPDATE products_deleted
            SET highest = greatest(highest, (SELECT max(version) FROM products));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER products_version_insert BEFORE INSERT ON products
    FOR EACH ROW WHEN (NEW.version < 1) EXECUTE FUNCTION products_version();
CREATE TRIGGER products_version_update BEFORE UPDATE ON products
    FOR EACH ROW WHEN (NEW.version <= OLD.version OR NEW.id <> OLD.id)
    EXECUTE FUNCTION products_version();
CREATE TRIGGER products_version_delete AFTER DELETE ON products
    FOR EACH ROW EXECUTE FUNCTION products_version();
CREATE TRIGGER products_version_truncate BEFORE TRUNCATE ON products
    FOR EACH STATEMENT EXECUTE FUNCTION products_version();
ALTER TABLE products ENABLE ALWAYS TRIGGER products_version_insert;
ALTER TABLE products ENABLE ALWAYS TRIGGER products_version_update;
ALTER TABLE products ENABLE ALWAYS TRIGGER products_version_delete;
ALTER TABLE products ENABLE ALWAYS TRIGGER products_version_truncate;
