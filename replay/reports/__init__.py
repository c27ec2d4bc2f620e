"""What a report needs beyond its result: runs with other assumptions."""
