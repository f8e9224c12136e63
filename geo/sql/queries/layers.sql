-- layers_seen --
-- Those that the caller is shown, the oldest first.
SELECT id, version, title, about, kind, audience, color, opacity, columns, rows, edition, scope, at FROM layers
WHERE CAST(:id AS uuid) IS NULL OR id = CAST(:id AS uuid) ORDER BY at, id;

-- layer_changed --
SELECT layer_changed(CAST(:id AS uuid), :seen, CAST(:fresh AS jsonb));

-- layer_tile --
WITH drawn AS (
    SELECT f.id::text AS id, ST_AsMVTGeom(
        ST_Transform(f.geom, CAST(:srid AS integer)), ST_MakeEnvelope(:west, :south, :east, :north, CAST(:srid AS integer)), :extent, :extent / 32) AS geom
    FROM layer_features AS f
    WHERE f.edition = CAST(:edition AS uuid) AND f.geom && ST_MakeEnvelope(:out_west, :out_south, :out_east, :out_north, 4326) LIMIT :most
)
SELECT ST_AsMVT(drawn, CAST(:called AS text), :extent, 'geom') FROM drawn WHERE geom IS NOT NULL;

-- layers_here --
-- What of some layers is at a place, within so many degrees of it.
SELECT l.id, l.title, l.columns, f.properties
FROM layers AS l JOIN layer_features AS f ON f.edition = l.edition, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) AS spot
WHERE l.id = ANY (CAST(:layers AS uuid[])) AND f.geom && ST_Expand(spot, :reach) AND ST_DWithin(f.geom, spot, :reach)
ORDER BY l.title, l.id, ST_Distance(f.geom, spot), f.id LIMIT :most;

-- layer_held --
-- As the loader needs it to stage the next edition.
SELECT id, version, kind, scope, edition, rows FROM layers WHERE id = CAST(:id AS uuid) AND retired_at IS NULL;

-- layer_area --
-- The area for which a layer is made: as wished for if there is such, else the town.
SELECT CASE WHEN CAST(:wished AS text) IS NULL THEN instance_prefix() ELSE (SELECT path FROM area_paths WHERE path = :wished) END;

-- areas_outermost --
-- Areas that lie in no other, so many as one can choose from.
SELECT a.path FROM area_paths AS a
WHERE NOT EXISTS (SELECT FROM area_paths AS o WHERE o.path <> a.path AND a.path ^@ o.path) ORDER BY length(a.path), a.path LIMIT 100;

-- layer_made --
INSERT INTO layers (id, scope, title, about, kind, audience, color, opacity, columns, rows, edition, batch, account)
SELECT b.id, :scope, :title, :about, :kind, :audience, :color, :opacity, CAST(:columns AS jsonb), :rows, b.id, b.id, u.account
FROM batches AS b LEFT JOIN uploads AS u ON u.id = b.id WHERE b.id = CAST(:batch AS uuid);

-- editions_cleared --
SELECT editions_cleared(:kept, :days);

-- layer_moved --
-- To its next edition, while it is as it was compared with.
UPDATE layers SET edition = CAST(:batch AS uuid), columns = CAST(:columns AS jsonb), rows = :rows
WHERE id = CAST(:id AS uuid) AND version = :version AND retired_at IS NULL;
