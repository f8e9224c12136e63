-- schemes_loaded --
WITH wanted AS (
    SELECT * FROM json_to_recordset(CAST(:schemes AS json)) AS s (name text, note text, patterns jsonb)
), gone AS (
    DELETE FROM code_schemes AS s WHERE name NOT IN (SELECT name FROM wanted)
      AND NOT EXISTS (SELECT FROM instance WHERE instance.code_scheme = s.name)
)
INSERT INTO code_schemes (name, patterns, note) SELECT name, patterns, coalesce(note, '') FROM wanted
ON CONFLICT (name) DO UPDATE SET patterns = excluded.patterns, note = excluded.note;

-- codes_proposed --
SELECT area, path, name, code FROM codes_proposed(:level, :parent, coalesce(:moment, now()));
