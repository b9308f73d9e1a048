-- Ids compare byte by byte, as on SQLite: pages follow that order.
CREATE TABLE profiles (
    id text COLLATE "C" PRIMARY KEY,
    display_name text NOT NULL,
    bio text NOT NULL DEFAULT '',
    avatar_url text NOT NULL DEFAULT '',
    followers bigint NOT NULL DEFAULT 0 CHECK (followers >= 0),
    version bigint NOT NULL DEFAULT 0
);

-- A version is never used twice for one id: not after a change by hand, and not when a profile is
-- deleted and another of its id created. `highest` is the highest version ever deleted.
CREATE TABLE profiles_deleted (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    highest bigint NOT NULL
);
INSERT INTO profiles_deleted (highest) VALUES (0);

CREATE FUNCTION profiles_version() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.version := 1 + (SELECT highest FROM profiles_deleted);
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' AND NEW.id = OLD.id THEN
        NEW.version := OLD.version + 1;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        -- As if it were deleted, and another created.
        UPDATE profiles_deleted SET highest = OLD.version WHERE highest < OLD.version;
        NEW.version := 1 + (SELECT highest FROM profiles_deleted);
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE profiles_deleted SET highest = OLD.version WHERE highest < OLD.version;
    ELSE
        UPDATE profiles_deleted
            SET highest = greatest(highest, (SELECT max(version) FROM profiles));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER profiles_version_insert BEFORE INSERT ON profiles
    FOR EACH ROW WHEN (NEW.version < 1) EXECUTE FUNCTION profiles_version();
CREATE TRIGGER profiles_version_update BEFORE UPDATE ON profiles
    FOR EACH ROW WHEN (NEW.version <= OLD.version OR NEW.id <> OLD.id)
    EXECUTE FUNCTION profiles_version();
CREATE TRIGGER profiles_version_delete AFTER DELETE ON profiles
    FOR EACH ROW EXECUTE FUNCTION profiles_version();
CREATE TRIGGER profiles_version_truncate BEFORE TRUNCATE ON profiles
    FOR EACH STATEMENT EXECUTE FUNCTION profiles_version();
ALTER TABLE profiles ENABLE ALWAYS TRIGGER profiles_version_insert;
ALTER TABLE profiles ENABLE ALWAYS TRIGGER profiles_version_update;
ALTER TABLE profiles ENABLE ALWAYS TRIGGER profiles_version_delete;
ALTER TABLE profiles ENABLE ALWAYS TRIGGER profiles_version_truncate;
