"""The reading process: one file in, an Arrow stream out. Started by `geo.files`, never imported by the server.

It gives up the network, then bounds its memory, processor time and file size (`wall`), and only then opens anything. What it
has to say goes three ways: rows down the pipe, a refusal into the job's folder, complaints of libraries to nobody.

Each file is read by a process started anew: with its imports one takes 0.16 s to the first row of a small table and 0.21 s
of a zipped shapefile on a machine of two cores, so no template is kept warm to be forked, which would carry state from one
stranger's file to the next.
"""
