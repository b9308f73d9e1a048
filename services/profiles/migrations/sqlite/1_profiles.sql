CREATE TABLE profiles (
    id TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    bio TEXT NOT NULL DEFAULT '',
    avatar_url TEXT NOT NULL DEFAULT '',
    followers INTEGER NOT NULL DEFAULT 0 CHECK (followers >= 0),
    version INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A version is never used twice for one id: not after a change by hand, and not when a profile is
-- deleted and another of its id created. `highest` is the highest version ever deleted.
CREATE TABLE profiles_deleted (
    one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    highest INTEGER NOT NULL
) STRICT;
INSERT INTO profiles_deleted (highest) VALUES (0);

CREATE TRIGGER profiles_version_insert AFTER INSERT ON profiles WHEN NEW.version < 1
BEGIN
    UPDATE profiles SET version = 1 + (SELECT highest FROM profiles_deleted) WHERE id = NEW.id;
END;
CREATE TRIGGER profiles_version_update AFTER UPDATE ON profiles
    WHEN NEW.id = OLD.id AND NEW.version <= OLD.version
BEGIN
    UPDATE profiles SET version = OLD.version + 1 WHERE id = NEW.id;
END;
-- As if it were deleted, and another created.
CREATE TRIGGER profiles_version_rename AFTER UPDATE ON profiles WHEN NEW.id <> OLD.id
BEGIN
    UPDATE profiles_deleted SET highest = OLD.version WHERE highest < OLD.version;
    UPDATE profiles SET version = 1 + (SELECT highest FROM profiles_deleted) WHERE id = NEW.id;
END;
CREATE TRIGGER profiles_version_delete AFTER DELETE ON profiles
BEGIN
    UPDATE profiles_deleted SET highest = OLD.version WHERE highest < OLD.version;
END;
