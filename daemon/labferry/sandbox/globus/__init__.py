"""The sandbox's Globus: Auth and Transfer in one web application, collections that are directories, real copies.

Room: sandbox. What is known of the real service is in its documentation; where that says nothing, a module says
what it assumes.
"""
