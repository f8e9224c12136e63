-- observations_take --
-- What came of observations.
SELECT observations_taken(CAST(:given AS jsonb));

-- thing_register --
-- A thing with its streams, added or changed.
SELECT thing_registered(:code, :title, CAST(CAST(:place AS text) AS geometry), CAST(:login AS text), CAST(:streams AS jsonb));

-- thing_retire --
-- A thing that is out of use.
SELECT thing_retired(:code);

-- observation_rule --
-- A rule of a stream.
SELECT observation_ruled(
    :datastream, :title, :matter, CAST(:above AS float), CAST(:below AS float), CAST(:back AS float), make_interval(secs => :lasting),
    make_interval(secs => :once_in), :urgent);

-- observation_rule_end --
-- A rule that is over.
SELECT observation_rule_ended(:id);

-- things_told --
-- Things, their streams and rules.
SELECT code, title, lon, lat, area, login, streams FROM things_told();
