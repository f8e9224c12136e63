-- trail_append --
-- A row at the end of the chain; its number.
SELECT trail_appended(:actor, :acting_as, :action, :noun, :feature, :scope, :purpose, :result, :origin);

-- trail_page --
-- The trail, newest first, from before a row on. What is NULL is not asked for.
SELECT * FROM trail_told(CAST(:before AS bigint), :most, CAST(:since AS timestamptz), CAST(:until AS timestamptz), CAST(:actor AS text),
    CAST(:action AS text), CAST(:noun AS text), CAST(:feature AS text), CAST(:scope AS text));

-- trail_facts --
-- Whose chain it is, what it is hashed with, and what went from its beginning.
SELECT instance.id, instance.trail_hash AS algorithm, coalesce(cut.until, 0) AS until, coalesce(cut.hash, '\x') AS hash
FROM instance LEFT JOIN (SELECT until, hash FROM trail_cuts ORDER BY until DESC LIMIT 1) AS cut ON true;

-- trail_end --
-- The end of the chain, for an anchor.
SELECT id, hash, at, instance FROM trail_head();

-- trail_row_hash --
-- The hash of one row: does a head still hold?
SELECT hash FROM trail WHERE id = :id;

-- trail_algorithm --
-- What the chain is hashed with: before the first row only.
UPDATE instance SET trail_hash = :algorithm;
