-- card_areas --
-- The area of every level at a point, coarse to fine. `areas_at` settles edges and overlaps. Of an area that the caller does
-- not answer for only the name is known, and id is NULL.
SELECT a.level, a.path, a.reason, areas.id, coalesce(areas.name, area_title(a.path)) AS name, areas.code, areas.kind, areas.derived, areas.management_mode,
    areas.lead_body, ST_Area(areas.geom::geography) AS square_metres
FROM areas_at(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), now()) AS a LEFT JOIN areas ON areas.id = a.area
ORDER BY length(a.path);

-- card_nearest --
-- Where no area of the level covers the point: the nearest, and how far.
SELECT name, path, metres FROM nearest_area(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), :level, now());

-- card_counts --
SELECT c.buildings, c.households, c.residents, c.facilities + c.parts AS things, c.open_incidents AS open,
    (SELECT count(*) FROM incidents WHERE scope >= :path AND scope < :path || '~' AND retired_at IS NULL
        AND precision <> 'region' AND due_at < now() AND state = ANY (:states)) AS overdue
FROM area_counts_told(:path) AS c;

-- card_posts --
-- Who answers here: those of this very area first, then of those it lies in. Stairwells have their own.
SELECT id, role, area, area_name, holder, deputy, organisation FROM posts_told(:paths)
ORDER BY length(area) DESC, array_position(:roles, role), id
LIMIT 12;

-- card_phones --
-- How the telephones of some posts end, for who may ask to see them whole.
SELECT id, phone FROM phones_told(CAST(:ids AS uuid[]));

-- card_incidents --
-- What is open here, the overdue first.
SELECT id, title, state, reported_at, exercise, due_at, coalesce(due_at < now(), false) AS overdue
FROM incidents
WHERE scope >= :path AND scope < :path || '~' AND retired_at IS NULL AND precision <> 'region' AND state = ANY (:states)
ORDER BY overdue DESC, reported_at DESC NULLS LAST, id
LIMIT :most;

-- card_zones --
-- Zones in force that touch the area or cover the point, with the authority they stand on.
SELECT zones.name, zones.kind, zone_kinds.title AS kind_title, zone_kinds.title_en AS kind_title_en, zones.exercise,
    CASE WHEN planned_end < now() THEN 'overdue_review' WHEN starts_at > now() THEN 'upcoming' ELSE 'active' END AS standing,
    legal_basis, deciding_organ, document_number, measures, starts_at, planned_end, help_phone, appeal_channel,
    CASE WHEN area_shares.area_share > 0 THEN greatest(1, round((100 * area_shares.area_share)::numeric)) END::integer AS share
FROM zones JOIN zone_kinds ON zone_kinds.code = zones.kind
LEFT JOIN area_shares ON area_shares.noun = 'zones' AND area_shares.feature = zones.id AND area_shares.area = :area
WHERE zones.state = 'active' AND zones.retired_at IS NULL
  AND (area_shares.area IS NOT NULL OR (zones.geom && ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)
       AND ST_Intersects(zones.geom, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326))))
ORDER BY planned_end, zones.id
LIMIT 20;

-- card_overlaps --
-- Areas of the same level that this one overlaps by more than drawing does by accident.
SELECT other.name, ST_Area(ST_Intersection(own.geom, other.geom)::geography) AS square_metres
FROM areas AS own JOIN areas AS other ON other.geom && own.geom AND other.level = own.level AND other.id <> own.id
WHERE own.id = :area AND other.theme = own.theme AND other.kind NOT IN ('unit', 'thematic') AND other.retired_at IS NULL
  AND other.valid_from <= now() AND (other.valid_to IS NULL OR other.valid_to > now())
  AND ST_NPoints(own.geom) < 20000 AND ST_NPoints(other.geom) < 20000
  AND ST_Relate(own.geom, other.geom, '2********')
  AND ST_Area(ST_Intersection(own.geom, other.geom)::geography) >= 1
ORDER BY square_metres DESC
LIMIT 5;

-- card_same_code --
SELECT count(*) FROM areas
WHERE code = :code AND id <> :id AND level = :level AND retired_at IS NULL
  AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now());

-- headline_instance --
-- Whose map this is, how far it reaches, and the time of the latest news.
SELECT i.name, i.k, i.time_zone,
    (SELECT ARRAY[ST_XMin(box), ST_YMin(box), ST_XMax(box), ST_YMax(box)] FROM (
        SELECT ST_Extent(geom) AS box FROM areas WHERE theme = 'governance' AND retired_at IS NULL AND level <> 'micro_grid'
          AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())) AS every WHERE box IS NOT NULL) AS extent,
    (SELECT greatest(max(reported_at) FILTER (WHERE reported_at <= now()), max(closed_at) FILTER (WHERE closed_at <= now()))
     FROM incidents WHERE retired_at IS NULL) AS as_of
FROM instance AS i;

-- headline_levels --
SELECT level, count(*) AS count FROM areas
WHERE theme = 'governance' AND kind NOT IN ('unit', 'thematic') AND retired_at IS NULL
  AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
GROUP BY level;

-- headline_counts --
-- What there is for the caller: by the sums, but for a department, which sees its own categories only, and for what the clock
-- decides.
SELECT
    tally_here('buildings', 'rows') AS buildings,
    CASE WHEN current_user LIKE 'jingwei_o%' THEN
        (SELECT count(*) FROM incidents WHERE retired_at IS NULL AND state = ANY (:states)) ELSE tally_here('incidents', 'open') END AS open,
    (SELECT count(*) FROM incidents WHERE retired_at IS NULL AND due_at < now() AND state = ANY (:states)) AS overdue,
    z.zones, z.zones_overdue
FROM
    (SELECT count(*) AS zones, count(*) FILTER (WHERE planned_end < now()) AS zones_overdue
     FROM zones WHERE retired_at IS NULL AND state = 'active' AND starts_at <= now()) AS z;

-- headline_before --
-- The same as a day ago, and what was closed in the day since and in the day before that. What was turned away since is in neither.
WITH past AS MATERIALIZED (
    SELECT now() - interval '1 day' AS at
), cases AS (
    -- What was closed once and is open again was not closed.
    SELECT reported_at, due_at, CAST(NULL AS timestamptz) AS closed_at FROM incidents WHERE retired_at IS NULL AND state = ANY (:states)
    UNION ALL
    SELECT reported_at, due_at, closed_at FROM incidents
    WHERE retired_at IS NULL AND state IN ('closed', 'feedback') AND closed_at > now() - interval '2 days' AND closed_at <= now()
)
SELECT count(*) FILTER (WHERE reported_at <= past.at AND (closed_at IS NULL OR closed_at > past.at)) AS open,
    count(*) FILTER (WHERE reported_at <= past.at AND due_at < past.at AND (closed_at IS NULL OR closed_at > past.at)) AS overdue,
    count(*) FILTER (WHERE closed_at > past.at) AS closed,
    count(*) FILTER (WHERE closed_at <= past.at) AS closed_before,
    (SELECT count(*) FROM zones, past WHERE retired_at IS NULL AND starts_at <= past.at AND (state = 'active' OR state = 'lifted' AND lifted_at > past.at)) AS zones
FROM cases, past GROUP BY past.at;

-- zones_now --
-- The zones in force and where to look, soonest to end first: what everybody is told of.
SELECT zones.id, zones.name, zone_kinds.title AS kind_title, zone_kinds.title_en AS kind_title_en, planned_end, exercise, planned_end < now() AS over,
    ST_X(ST_PointOnSurface(geom)) AS longitude, ST_Y(ST_PointOnSurface(geom)) AS latitude
FROM zones JOIN zone_kinds ON zone_kinds.code = zones.kind
WHERE zones.state = 'active' AND zones.retired_at IS NULL AND starts_at <= now() ORDER BY planned_end, zones.id LIMIT 5;

-- area_outlines --
-- The areas of a level as shapes of a drawing without scripts, coarse: `scale` is how many steps of the drawing a degree is.
SELECT areas.id, ST_AsSVG(ST_Affine(ST_SimplifyPreserveTopology(geom, 1.5 / :scale), :scale * :squeeze, 0, 0, :scale, -:west * :scale * :squeeze, -:north * :scale), 1, 0) AS outline
FROM areas
WHERE level = :level AND theme = 'governance' AND kind NOT IN ('unit', 'thematic') AND retired_at IS NULL AND geom IS NOT NULL
  AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
  AND geom && ST_MakeEnvelope(:west, :south, :east, :north, 4326)
ORDER BY path LIMIT :most;

-- zone_outlines --
-- The zones in force, likewise.
SELECT zones.kind, ST_AsSVG(ST_Affine(ST_SimplifyPreserveTopology(geom, 1.0 / :scale), :scale * :squeeze, 0, 0, :scale, -:west * :scale * :squeeze, -:north * :scale), 1, 0) AS outline
FROM zones WHERE state = 'active' AND retired_at IS NULL AND geom && ST_MakeEnvelope(:west, :south, :east, :north, 4326) LIMIT 100;

-- headline_areas --
-- One row for every area of a level: what is open in it, and where to look.
SELECT areas.id, coalesce(areas.name, areas.path) AS name, areas.path, ST_X(areas.label_point) AS longitude, ST_Y(areas.label_point) AS latitude,
    coalesce(i.open, 0) AS open, coalesce(i.overdue, 0) AS overdue
FROM areas LEFT JOIN (
    SELECT left(scope, path_width(:level)) COLLATE "C" AS path, count(*) AS open,
        count(*) FILTER (WHERE due_at < now()) AS overdue
    FROM incidents WHERE retired_at IS NULL AND state = ANY (:states) AND precision <> 'region'
    GROUP BY 1) AS i ON i.path = areas.path
WHERE areas.level = :level AND areas.path >= :within AND areas.path < :within || '~'
  AND areas.theme = 'governance' AND areas.kind NOT IN ('unit', 'thematic') AND areas.retired_at IS NULL
  AND areas.valid_from <= now() AND (areas.valid_to IS NULL OR areas.valid_to > now()) AND areas.label_point IS NOT NULL
ORDER BY areas.path
LIMIT 1000;

-- listed_within --
-- The area inside which the list is, and those above it.
SELECT name, path, level FROM areas
WHERE :within LIKE path || '%' AND theme = 'governance' AND kind NOT IN ('unit', 'thematic') AND retired_at IS NULL
  AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
ORDER BY length(path);

-- listed_areas --
-- The same with everything the list shows. Sums of people come from the one function that may read them.
SELECT areas.path, c.buildings, c.residents, c.households, c.facilities + c.parts AS things,
    (SELECT count(*) FROM areas AS g WHERE g.level = 'grid' AND g.path >= areas.path AND g.path < areas.path || '~'
        AND g.theme = 'governance' AND g.kind NOT IN ('unit', 'thematic') AND g.retired_at IS NULL
        AND g.valid_from <= now() AND (g.valid_to IS NULL OR g.valid_to > now())) AS grids,
    (SELECT count(DISTINCT s.feature) FROM area_shares AS s JOIN zones ON zones.id = s.feature
     WHERE s.noun = 'zones' AND s.area = areas.id AND zones.state = 'active' AND zones.retired_at IS NULL) AS zones
FROM areas CROSS JOIN LATERAL area_counts_told(areas.path) AS c
WHERE areas.id = ANY (:areas);

-- listed_zones --
-- Every zone in force, soonest to end first.
SELECT zones.name, zones.kind, zone_kinds.title AS kind_title, zone_kinds.title_en AS kind_title_en, zones.exercise,
    CASE WHEN planned_end < now() THEN 'overdue_review' WHEN starts_at > now() THEN 'upcoming' ELSE 'active' END AS standing,
    legal_basis, deciding_organ, document_number, measures, starts_at, planned_end, help_phone, appeal_channel,
    NULL::integer AS share
FROM zones JOIN zone_kinds ON zone_kinds.code = zones.kind
WHERE zones.state = 'active' AND zones.retired_at IS NULL
ORDER BY planned_end, zones.id
LIMIT 200;
