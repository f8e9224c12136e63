-- What changed, for those who look on: numbered by the relay, so that whoever was away goes on from the last number they had.

-- Where the relay is.
CREATE OR REPLACE FUNCTION relayed_to() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT number FROM relay
$$;

-- The changes after a number that are the caller's business: which record, and what was done with it, never what it holds. Where it
-- was before counts as well, so that what left an area leaves the pages of those who answer for it.
CREATE OR REPLACE FUNCTION changes_told(after bigint, most integer)
RETURNS TABLE (number bigint, at timestamptz, noun text, feature uuid, operation text, batch uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.number, c.at, c.noun, c.feature, c.operation, c.batch FROM changes AS c
    WHERE c.number > after AND c.number <= (SELECT r.number FROM relay AS r) AND c.noun <> 'accounts'
      AND CASE caller_right()
        WHEN 'area' THEN caller_holds(c.scope_after) OR caller_holds(c.scope_before) OR (c.feature IS NULL AND c.operation = 'batch')
        WHEN 'leader' THEN caller_holds(c.scope_after) OR caller_holds(c.scope_before) OR (c.feature IS NULL AND c.operation = 'batch')
        WHEN 'organisation' THEN c.noun = 'incidents' AND EXISTS (SELECT FROM incidents AS i WHERE i.id = c.feature AND incident_in_hand(i))
        ELSE false END
    ORDER BY c.number LIMIT least(most, 1000)
$$;
