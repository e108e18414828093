"""What nobody well-behaved sends, and exactly what is answered; the same processes go on afterwards."""
