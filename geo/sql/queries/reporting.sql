-- report --
-- A report, stored as an incident and a receipt; sent again, the first ticket.
SELECT * FROM incident_reported(
    :id, :ticket, :code_hash, :title, CAST(:matter AS text), CAST(:description AS text), CAST(:address AS text),
    CAST(CAST(:place AS text) AS geometry), CAST(:precision AS text), CAST(:masked AS text), CAST(:cipher AS bytea), CAST(:hash AS bytea),
    CAST(:device AS text), CAST(:again AS text), CAST(:said AS bytea));

-- follow_report --
-- How far a report has got, for who has ticket and code.
SELECT * FROM report_followed(:ticket, CAST(:hashes AS bytea[]));

-- report_told --
-- How a report goes, for who has ticket and code.
SELECT * FROM report_told(:ticket, CAST(:hashes AS bytea[]));

-- report_held --
-- Whether somebody has ticket and code of a report of their own.
SELECT report_held(:ticket, CAST(:hashes AS bytea[]));

-- reports_near --
-- What is reported already of the same matter near a place.
SELECT n.id, n.matter, m.title, m.title_en, n.reported_at, n.stage, n.area
FROM reports_near(:matter, CAST(CAST(:place AS text) AS geometry)) AS n JOIN matters AS m ON m.code = n.matter;

-- report_joined --
-- A receipt of one's own of a case that was there before.
SELECT report_joined(CAST(:incident AS uuid), :ticket, CAST(:hash AS bytea), CAST(:hashes AS bytea[]));

-- houses_stuck --
-- The houses, and the stairwells of each, of an area, for the printed sheet: what is on the wall of each.
SELECT b.id AS building, b.name AS house, u.id AS unit, u.name AS stairwell, c.name AS compound
FROM buildings AS b LEFT JOIN units AS u ON u.building = b.id AND u.retired_at IS NULL LEFT JOIN compounds AS c ON c.id = b.compound
WHERE b.retired_at IS NULL AND b.scope >= :within AND b.scope < :within || '~'
ORDER BY c.name NULLS LAST, length(b.name), b.name, length(u.name), u.name, b.id LIMIT :most;

-- preset_place --
-- Where a house or a stairwell of it is, as everybody may know it.
SELECT b.id AS building, u.id AS unit, concat(c.name, b.name, u.name) AS title, ST_X(p.point) AS lon, ST_Y(p.point) AS lat, area_title(b.scope) AS area
FROM buildings AS b LEFT JOIN units AS u ON u.building = b.id AND u.id = CAST(:unit AS uuid) AND u.retired_at IS NULL
LEFT JOIN compounds AS c ON c.id = b.compound CROSS JOIN LATERAL (SELECT ST_PointOnSurface(b.geom) AS point) AS p
WHERE b.retired_at IS NULL AND CASE WHEN CAST(:unit AS uuid) IS NULL THEN b.id = CAST(:building AS uuid) ELSE u.id IS NOT NULL END;

-- matters_told --
-- The kinds of matters that people may report: not the alarms of sensors.
SELECT code, title, title_en, parent FROM matters WHERE retired_at IS NULL AND code !~ '^29' ORDER BY code;
