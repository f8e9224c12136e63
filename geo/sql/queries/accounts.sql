-- areas_offered --
-- The areas that a caller may name in an appointment, highest first.
SELECT path, code, level, name FROM areas
WHERE theme = 'governance' AND retired_at IS NULL AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
ORDER BY length(path), path
LIMIT :most;

-- areas_called --
-- The areas that some texts name, by path, code or name. Three look-ups: with OR each text would read every area.
SELECT DISTINCT said.said, a.path
FROM unnest(CAST(:wanted AS text[])) AS said (said)
CROSS JOIN LATERAL (
    SELECT path, theme, retired_at, valid_from, valid_to FROM areas WHERE path = said.said
    UNION ALL SELECT path, theme, retired_at, valid_from, valid_to FROM areas WHERE code = said.said
    UNION ALL SELECT path, theme, retired_at, valid_from, valid_to FROM areas WHERE name = said.said
) AS a
WHERE a.theme = 'governance' AND a.retired_at IS NULL AND a.valid_from <= now() AND (a.valid_to IS NULL OR a.valid_to > now())
ORDER BY said.said, a.path;

-- matters_offered --
-- The matters that a department may answer for.
SELECT code, title, title_en FROM matters WHERE retired_at IS NULL AND (parent = '' OR NOT :parents) ORDER BY code;
