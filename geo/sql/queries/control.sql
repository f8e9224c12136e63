-- touched_areas --
-- Every area a feature touches, largest level first, with the share of each in the other.
SELECT json_build_object('path', areas.path, 'level', areas.level, 'name', areas.name, 'measure_m2', s.measure,
    'share', s.share, 'area_share', s.area_share)
FROM area_shares AS s JOIN areas ON areas.id = s.area
WHERE s.noun = :noun AND s.feature = :feature
ORDER BY length(areas.path), areas.path;

-- affected --
-- What stands in a zone: buildings it touches (one straddling the edge is one building with a share) and those wholly or
-- mostly inside, with the households, residents and homes of the buildings it touches for who works in all of it.
SELECT * FROM zone_affected(:feature);
