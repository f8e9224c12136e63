-- relayed_to --
-- The number of the last change that was published.
SELECT relayed_to();

-- changes_after --
-- What changed after a number, of the caller's business.
SELECT number, at, noun, feature, operation, batch FROM changes_told(CAST(:after AS bigint), :most);
