"""The HTTP/1.1 connections of the REST façade, from their bytes to requests and back."""
