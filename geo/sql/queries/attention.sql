-- priorities --
-- What the caller should look at first, with the name of where it is.
SELECT p.concern, p.number, p.at, p.feature, p.title, p.path, coalesce(area_title(p.path), '') AS area, p.lon AS longitude, p.lat AS latitude
FROM priorities_told() AS p;

-- grids_quiet --
-- Of how many of the caller's grids nothing was heard in a day.
SELECT count(*) FILTER (WHERE quiet) AS quiet, count(*) AS every FROM grids_quiet();

-- attention --
-- The grade of areas, with reasons.
SELECT path, grade, reasons FROM attention_told(:level, CAST(:path AS text));

-- attention_held --
-- Whether the caller is told of an area's grade at all.
SELECT EXISTS (SELECT FROM scopes_held() AS lo WHERE CAST(:path AS text) LIKE lo || '%') AND :level IN ('street', 'community', 'grid');

-- services_far --
-- What is too far from the middle of an area.
SELECT service, metres, at_most FROM services_far(:level, CAST(:path AS text)) ORDER BY service;

-- homes_apart --
-- Homes in no grid, and where.
SELECT path, households, ST_X(spot) AS longitude, ST_Y(spot) AS latitude FROM homes_apart() WHERE spot IS NOT NULL ORDER BY path LIMIT 100;

-- areas_standing --
-- What is open in the areas of a level, and how they stand, of those whose middle is in a box.
WITH cases AS (
    SELECT left(scope, path_width(:level)) COLLATE "C" AS path, count(*) AS open, count(*) FILTER (WHERE due_at < now()) AS overdue
    FROM incidents
    WHERE retired_at IS NULL AND precision <> 'region'
      AND state = ANY (:states)
    GROUP BY 1
), attended AS MATERIALIZED (
    SELECT area, grade FROM attention_told(:level, NULL)
), held AS MATERIALIZED (
    SELECT lo FROM scopes_held() AS lo
)
SELECT a.id, coalesce(a.name, a.path) AS name, a.path, round(ST_X(a.label_point)::numeric, 6)::float8 AS longitude, round(ST_Y(a.label_point)::numeric, 6)::float8 AS latitude,
    coalesce(c.open, 0) AS open, coalesce(c.overdue, 0) AS overdue,
    CASE WHEN EXISTS (SELECT FROM held WHERE a.path LIKE held.lo || '%') THEN coalesce(g.grade, 0) END AS grade,
    CASE WHEN EXISTS (SELECT FROM held WHERE a.path LIKE held.lo || '%') THEN u.area IS NOT NULL END AS unowned,
    CASE WHEN EXISTS (SELECT FROM held WHERE a.path LIKE held.lo || '%') THEN f.area IS NOT NULL END AS far
FROM areas AS a LEFT JOIN cases AS c ON c.path = a.path LEFT JOIN attended AS g ON g.area = a.id
LEFT JOIN areas_unowned(:level) AS u ON u.area = a.id LEFT JOIN (SELECT DISTINCT area FROM services_far(:level, NULL)) AS f ON f.area = a.id
WHERE a.level = :level AND a.theme = 'governance' AND a.kind NOT IN ('unit', 'thematic') AND a.retired_at IS NULL
  AND a.valid_from <= now() AND (a.valid_to IS NULL OR a.valid_to > now()) AND a.label_point IS NOT NULL
  AND ST_X(a.label_point) BETWEEN :west AND :east AND ST_Y(a.label_point) BETWEEN :south AND :north
ORDER BY a.path LIMIT :most;
