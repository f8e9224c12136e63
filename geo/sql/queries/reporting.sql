-- report --
-- A report, stored as an incident and a receipt; sent again, the first ticket.
SELECT * FROM incident_reported(
    :id, :ticket, :code_hash, :title, CAST(:matter AS text), CAST(:description AS text), CAST(:address AS text),
    CAST(CAST(:place AS text) AS geometry), CAST(:precision AS text), CAST(:masked AS text), CAST(:cipher AS bytea), CAST(:hash AS bytea),
    CAST(:device AS text), CAST(:again AS text), CAST(:said AS bytea));

-- follow_report --
-- How far a report has got, for who has ticket and code.
SELECT * FROM report_followed(:ticket, CAST(:hashes AS bytea[]));
