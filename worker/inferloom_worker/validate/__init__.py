"""Requests become typed values here, or the error table's answer. Nothing past this package is unchecked."""
