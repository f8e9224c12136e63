"""Alembic: tables and columns only. Functions, policies and grants are rules, written anew on every migrate."""
