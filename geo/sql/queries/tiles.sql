-- drawn_extent --
-- How far the areas of the caller reach: west, south, east, north.
SELECT ST_XMin(box) AS west, ST_YMin(box) AS south, ST_XMax(box) AS east, ST_YMax(box) AS north FROM (
    SELECT ST_Extent(geom) AS box FROM areas WHERE theme = 'governance' AND retired_at IS NULL AND level <> 'micro_grid'
      AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())) AS every
WHERE box IS NOT NULL;
